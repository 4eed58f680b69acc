-- The same request again and again.
--
-- wrk -s same.lua URL -- METHOD TARGET
dofile((debug.getinfo(1, "S").source:match("^@(.*/)") or "./") .. "report.lua")

local text

function init(args)
    text = args[1] == "GET" and get(args[2]) or post(args[2])
end

function request()
    return text
end

function response(status)
    if status ~= 200 then unexpected = unexpected + 1 end
end
