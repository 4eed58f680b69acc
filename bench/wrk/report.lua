-- What the scripts beside it share: which folder, counting replies that nobody expected, and the line of figures at
-- the end. wrk runs request() and response() in one Lua state a thread, for all its connections together.

local threads = {}
unexpected = 0 -- global: done() reads it from each thread

function setup(thread)
    threads[#threads + 1] = thread
end

function post(target)
    return "POST " .. target .. " HTTP/1.1\r\nHost: bench\r\nContent-Length: 0\r\n\r\n"
end

function get(target)
    return "GET " .. target .. " HTTP/1.1\r\nHost: bench\r\n\r\n"
end

function done(summary, latency, requests)
    local wrong, errors = 0, summary.errors
    for _, thread in ipairs(threads) do wrong = wrong + (thread:get("unexpected") or 0) end
    -- The 99.9th percentile of a tenth of the requests, of two tenths ... of all, if the slowest are among those.
    local tail = {}
    for tenths = 1, 10 do tail[tenths] = latency:percentile(100 - 0.01 * tenths) end
    io.write(string.format(
        '\nFIGURES {"requests": %d, "seconds": %.6f, "unexpected": %d, "socket_errors": %d, ' ..
        '"p50_us": %d, "p99_us": %d, "max_us": %d, "p999_us": [%s]}\n',
        summary.requests, summary.duration / 1e6, wrong,
        errors.connect + errors.read + errors.write + errors.timeout,
        latency:percentile(50), latency:percentile(99), latency.max, table.concat(tail, ", ")))
end
