-- A request with a token that was not sent before, until the file is through; then from its start again.
-- Arguments after `--`: file of tokens, how many to skip, path.
local requests, next_one = {}, 0

function init(args)
    local head = "GET " .. args[3] .. " HTTP/1.1\r\nHost: " .. wrk.host .. ":" .. wrk.port .. "\r\nAuthorization: Bearer "
    for token in io.lines(args[1]) do
        requests[#requests + 1] = head .. token .. "\r\n\r\n"
    end
    next_one = tonumber(args[2]) % #requests
end

function request()
    next_one = next_one % #requests + 1
    return requests[next_one]
end

function done(summary, latency, _)
    local errors = summary.errors
    io.write(string.format(
        'FIGURES {"requests":%d,"seconds":%.6f,"refused":%d,"broken":%d,"p50_ms":%.3f,"p99_ms":%.3f}\n',
        summary.requests, summary.duration / 1e6, errors.status,
        errors.connect + errors.read + errors.write + errors.timeout,
        latency:percentile(50) / 1e3, latency:percentile(99) / 1e3))
end
