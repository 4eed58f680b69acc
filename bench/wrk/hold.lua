-- Acquires and never releases, until so many were asked for (wrk throws the first one away); then it only asks for the
-- metric of the type.
--
-- wrk -s hold.lua URL -- TYPE STATE HELD DISTINCT
--   DISTINCT  how many owners and destination states are gone through in turn
dofile((debug.getinfo(1, "S").source:match("^@(.*/)") or "./") .. "report.lua")

local asked, most, distinct, kind, state = 0

function init(args)
    kind, state, most, distinct = args[1], args[2], tonumber(args[3]), tonumber(args[4])
end

function request()
    if asked >= most then return get("/metric?type=" .. kind) end
    asked = asked + 1
    local i = asked % distinct + 1
    return post(string.format("/acquire?type=%s&state=%s&dest=held-%d&owner=holder-%d", kind, state, i, i))
end

function response(status)
    if status ~= 200 then unexpected = unexpected + 1 end
end
