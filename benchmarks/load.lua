-- Posts one fixed JSON body in a closed loop and prints one line of JSON at the end.
--   wrk ... -s load.lua URL -- BODY [EXPECTED]
-- With EXPECTED (a Lua pattern) every answer is looked at: slower, so never while measuring.

wrong = 0
first_wrong = ""

local threads = {}

function setup(thread)
   table.insert(threads, thread)
end

function init(args)
   wrk.method = "POST"
   wrk.body = args[1]
   wrk.headers["Content-Type"] = "application/json"
   local expected = args[2]
   if expected then
      function response(status, headers, body)
         if status ~= 200 or not body:find(expected) then
            wrong = wrong + 1
            first_wrong = status .. " " .. body:sub(1, 200)
         end
      end
   end
end

function done(summary, latency, requests)
   local total, sample = 0, ""
   for _, thread in ipairs(threads) do
      total = total + thread:get("wrong")
      sample = thread:get("first_wrong")
   end
   if sample ~= "" then
      io.stderr:write("a wrong answer: " .. sample .. "\n")
   end
   local errors = summary.errors
   io.write(string.format(
      'RESULT {"requests": %d, "duration_us": %d, "p50_us": %d, "p90_us": %d, "p99_us": %d, ' ..
      '"max_us": %d, "connect": %d, "read": %d, "write": %d, "timeout": %d, "status": %d, ' ..
      '"wrong": %d}\n',
      summary.requests, summary.duration,
      latency:percentile(50), latency:percentile(90), latency:percentile(99), latency.max,
      errors.connect, errors.read, errors.write, errors.timeout, errors.status, total))
end
