-- For wrk: batches of rollouts whose verdict is the number that they hold, so that every answer tells whose it is.
local threads = {}

function setup(thread)
  threads[#threads + 1] = thread
  thread:set("number", #threads)
end

function init(args)
  batch = tonumber(args[1])
  sent, wrong_status, short, shifted, doubled, judged = 0, 0, 0, 0, 0, 0
  seen = {}
end

function request()
  local rollouts = {}
  for i = 1, batch do
    sent = sent + 1
    local n = string.format("%.0f", number * 1e9 + sent)
    rollouts[i] = '{"id": ' .. n .. ', "completion": "' .. n .. '"}'
  end
  local body = '{"rollouts": [' .. table.concat(rollouts, ",") .. "]}"
  return wrk.format("POST", "/score", { ["Content-Type"] = "application/json" }, body)
end

function response(status, headers, body)
  if status ~= 200 then
    wrong_status = wrong_status + 1
    return
  end
  local found = 0
  for id, reward in body:gmatch('"id": (%d+), "reward": ([%d.]+)') do
    found = found + 1
    if tonumber(id) ~= tonumber(reward) then shifted = shifted + 1 end
    if seen[id] then doubled = doubled + 1 end
    seen[id] = true
  end
  judged = judged + found
  if found ~= batch then short = short + 1 end
end

function done(summary, latency, requests)
  local total = { wrong_status = 0, short = 0, shifted = 0, doubled = 0, judged = 0 }
  for _, thread in ipairs(threads) do
    for name in pairs(total) do total[name] = total[name] + thread:get(name) end
  end
  local errors = summary.errors
  io.write(string.format(
    'RESULT {"seconds": %f, "requests": %d, "judged": %d, "p50_ms": %f, "p99_ms": %f, ' ..
    '"errors": %d, "short": %d, "shifted": %d, "doubled": %d}\n',
    summary.duration / 1e6, summary.requests, total.judged, latency:percentile(50) / 1000,
    latency:percentile(99) / 1000,
    errors.connect + errors.read + errors.write + errors.timeout + total.wrong_status,
    total.short, total.shifted, total.doubled))
end
