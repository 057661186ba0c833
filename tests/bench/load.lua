-- A request with a token that was not sent before, until the supply is through; then from its start again.
-- Arguments after `--`: file of tokens, how many to use, how many requests went before, mean pause in ms, head, body.
-- `{token}` and `{number}` in head and body are filled in for each request.
local file, most, at, made, form

local function parts_of(text)
    local found, at = {}, 1
    while true do
        local from, to = text:find("{%a+}", at)
        if not from then
            found[#found + 1] = text:sub(at)
            return found
        end
        found[#found + 1] = text:sub(at, from - 1)
        found[#found + 1] = { name = text:sub(from + 1, to - 1) }
        at = to + 1
    end
end

-- Braces that are not ours, as in JSON, hold more than letters.
local function filler(text)
    local parts = parts_of(text)
    return function(values)
        local texts = {}
        for at = 1, #parts do
            local part = parts[at]
            texts[at] = type(part) == "table" and values[part.name] or part
        end
        return table.concat(texts)
    end
end

-- Read as they are needed: all of them take a second to read, and each round would wait for it.
local function next_token()
    if at == most then
        file:seek("set")
        at = 0
    end
    at = at + 1
    return file:read("*l")
end

function init(args)
    file, most, made, at = assert(io.open(args[1])), tonumber(args[2]), tonumber(args[3]), 0
    for _ = 1, made % most do next_token() end
    local pause = tonumber(args[4])
    form = { head = filler(args[5]), body = filler(args[6] or "") }
    form.host = "Host: " .. wrk.host .. ":" .. wrk.port .. "\r\n"
    math.randomseed(made + 1)
    -- wrk asks for a pause only where there is such a function.
    if pause > 0 then
        delay = function() return math.floor(-math.log(1 - math.random()) * pause + 0.5) end
    end
end

function request()
    made = made + 1
    local values = { token = next_token(), number = tostring(made) }
    local body = form.body(values)
    local length = #body > 0 and "Content-Length: " .. #body .. "\r\n" or ""
    return form.head(values) .. form.host .. length .. "\r\n" .. body
end

function done(summary, latency, _)
    local errors = summary.errors
    io.write(string.format(
        'FIGURES {"requests":%d,"seconds":%.6f,"refused":%d,"broken":%d,"p50_ms":%.3f,"p99_ms":%.3f}\n',
        summary.requests, summary.duration / 1e6, errors.status,
        errors.connect + errors.read + errors.write + errors.timeout,
        latency:percentile(50) / 1e3, latency:percentile(99) / 1e3))
end
