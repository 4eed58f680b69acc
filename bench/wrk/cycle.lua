-- Acquire and release in turn. The reply of an acquire puts the name on a list; the next request of whatever
-- connection takes one from the list and releases it, or acquires when the list is empty. So half of the requests are
-- acquires, and no more resources are held at once than there are connections.
--
-- wrk -s cycle.lua URL -- TYPE STATE DISTINCT
--   DISTINCT  how many owners and destination states are gone through in turn
dofile((debug.getinfo(1, "S").source:match("^@(.*/)") or "./") .. "report.lua")

local held, count, number = {}, 0, 0
local acquires, kind, state, distinct

function init(args)
    kind, state, distinct = args[1], args[2], tonumber(args[3])
    acquires = {}
    for i = 1, distinct do
        acquires[i] = post(string.format("/acquire?type=%s&state=%s&dest=in-use-%d&owner=owner-%d", kind, state, i, i))
    end
end

function request()
    if count > 0 then
        local release = held[count]
        held[count] = nil
        count = count - 1
        return release
    end
    number = number % distinct + 1
    return acquires[number]
end

function response(status, headers, body)
    if status ~= 200 then
        unexpected = unexpected + 1
    elseif #body > 0 then
        local name, owner = body:match('"name":"([^"]*)".-"owner":"([^"]*)"')
        count = count + 1
        held[count] = post("/release?name=" .. name .. "&dest=" .. state .. "&owner=" .. owner)
    end
end
