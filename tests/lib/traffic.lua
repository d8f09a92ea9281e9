-- traffic.lua - wrk's script of the reload tests: every second request writes; anything but the right answer is counted.
local n, wrong, thread = 0, 0, nil
local token = os.getenv("TRAFFIC_TOKEN")
local get_path, post_path = os.getenv("TRAFFIC_GET"), os.getenv("TRAFFIC_POST")
local said = os.getenv("TRAFFIC_SAID") or "some body text"
local body = '{"body":"some body text of about sixty bytes, as a row would hold it"}'
local get, post

function setup(t)
  thread = thread or {}
  table.insert(thread, t)
end

function init(args)
  local auth = { ["Authorization"] = "Bearer " .. token, ["Content-Type"] = "application/json" }
  get = wrk.format("GET", get_path, auth)
  post = wrk.format("POST", post_path, auth, body)
  reads, writes, bad, first = 0, 0, 0, ""
end

function request()
  n = n + 1
  return n % 2 == 0 and post or get
end

function response(status, headers, text)
  if status == 200 and text:find('"message":"hello"', 1, true) then reads = reads + 1
  elseif status == 201 and text:find(said, 1, true) and text:sub(-1) == "}" then writes = writes + 1
  else
    bad = bad + 1
    if first == "" then first = status .. " " .. text:sub(1, 300) end
  end
end

function done(summary, latency, requests)
  local r, w, b, f = 0, 0, 0, ""
  for _, t in ipairs(thread) do
    r, w, b = r + t:get("reads"), w + t:get("writes"), b + t:get("bad")
    if f == "" then f = t:get("first") end
  end
  local e = summary.errors
  print(string.format('TRAFFIC {"seconds":%.3f,"reads":%d,"writes":%d,"wrong":%d,"errors":%d,"p50_us":%d,"p99_us":%d,"max_us":%d}',
    summary.duration / 1e6, r, w, b, e.connect + e.read + e.write + e.timeout, latency:percentile(50), latency:percentile(99), latency.max))
  if f ~= "" then print("FIRST_WRONG " .. f) end
end
