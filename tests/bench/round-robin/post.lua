-- The requests of wrk: the same to every side. Each thread is a client that counts on.
local threads = 0

function setup(thread)
   thread:set("number", threads)
   threads = threads + 1
end

function init(args)
   wrk.headers["Content-Type"] = "application/json"
   counter = 0
end

function request()
   counter = counter + 1
   local body = '{"client_id":"wrk-%s-%d","counter":%d,"message":"what a client says to the servers"}'
   return wrk.format("POST", nil, nil, string.format(body, wrk.port, number, counter))
end
