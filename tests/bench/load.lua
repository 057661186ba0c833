-- A request with a token that was not sent before, until the supply is through; then from its start again.
-- Arguments after `--`: file of tokens, how many to use, how many requests went before, mean pause in ms, head, body.
-- `{token}` and `{number}` in head and body are filled in for each request.
local tokens, made, next_one, pause, form = {}, 0, 0, 0, nil

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

function init(args)
    local most = tonumber(args[2])
    for token in io.lines(args[1]) do
        if #tokens == most then break end
        tokens[#tokens + 1] = token
    end
    made = tonumber(args[3])
    next_one = made % #tokens
    pause = tonumber(args[4])
    form = { head = filler(args[5]), body = filler(args[6] or "") }
    form.host = "Host: " .. wrk.host .. ":" .. wrk.port .. "\r\n"
    math.randomseed(made + 1)
    -- wrk asks for a pause only where there is such a function.
    if pause > 0 then
        delay = function() return math.floor(-math.log(1 - math.random()) * pause + 0.5) end
    end
end

function request()
    next_one = next_one % #tokens + 1
    made = made + 1
    local values = { token = tokens[next_one], number = tostring(made) }
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
