"""What has to happen in one step in Redis: comparing ages and writing, as Lua scripts."""

from __future__ import annotations

PUT = """
-- ARGV: mode, then what HSET takes: `_ts:` field and value, `_age:` field and value, features.
-- mode: 'newest' leaves a newer row alone; 'merge' does not touch a row that has to be merged.
-- Returns 1 written, 0 stale, 2 to be merged.
local held = redis.call('HMGET', KEYS[1], ARGV[2], ARGV[4])
if held[1] and ARGV[1] ~= 'replace' then
  local ts, age = held[1], held[2]
  local event, created, base = 0, -2^62, 0
  if age and #age >= 32 and string.sub(age, 33) == ts then
    event, created, base = struct.unpack('>i8i8i8', age)
  else
    -- Written by Feast: seconds are field 1 and nanos field 2 of a protobuf Timestamp.
    local parts, place = {0, 0}, 1
    while place <= #ts do
      local field, value, factor = math.floor(string.byte(ts, place) / 8), 0, 1
      repeat
        place = place + 1
        local byte = string.byte(ts, place)
        value = value + byte % 128 * factor
        factor = factor * 128
      until byte < 128
      place = place + 1
      if value >= 2^63 then value = -2^62 end  -- before 1970
      parts[field] = value
    end
    event = parts[1] * 1000000 + math.floor(parts[2] / 1000)
  end
  local new_event, new_created = struct.unpack('>i8i8', ARGV[5])
  if ARGV[1] == 'newest' then
    if new_event < event or (new_event == event and new_created < created) then return 0 end
  elseif event ~= new_event or created ~= new_created or base ~= new_created then
    if base > new_created or (base == new_created and event >= new_event) then return 0 end
    if event > new_event or created >= new_created then return 2 end
  end
end
redis.call('HSET', KEYS[1], unpack(ARGV, 2))
return 1
"""
"""Write a snapshot row unless what is stored forbids it; the rule of `rows.judge`."""

SWAP = """
-- ARGV: `_ts:` field, `_age:` field, their contents as they were read ('' for none), a command
-- (HSET or HDEL), and what it takes. Returns 1 done, 0 somebody else was faster.
local held = redis.call('HMGET', KEYS[1], ARGV[1], ARGV[2])
if (held[1] or '') ~= ARGV[3] or (held[2] or '') ~= ARGV[4] then return 0 end
redis.call(ARGV[5], KEYS[1], unpack(ARGV, 6))
return 1
"""
"""Change a row if it still is what was read; every write has a nonce, so that shows."""
