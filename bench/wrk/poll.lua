-- Acquires that find nothing: the waiting clients poll, each with its request id, one after the other.
--
-- wrk -s poll.lua URL -- TYPE STATE IDS
--   IDS  how many request ids take turns
dofile((debug.getinfo(1, "S").source:match("^@(.*/)") or "./") .. "report.lua")

local polls, number = {}, 0

function init(args)
    for i = 1, tonumber(args[3]) do
        polls[i] = post(string.format("/acquire?type=%s&state=%s&dest=busy&owner=waiter-%d&request_id=id-%d",
                                      args[1], args[2], i, i))
    end
end

function request()
    number = number % #polls + 1
    return polls[number]
end

function response(status)
    if status ~= 404 then unexpected = unexpected + 1 end
end
