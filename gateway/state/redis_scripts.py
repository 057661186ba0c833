"""What Redis does for us in one step: Lua, each script on one key, each by Redis's own clock. Pure.

A reservation is one hash: `b` binding, `r` request id, `s` reserved at, `l` lease ends at (milliseconds), `n` 0 reserved,
1 begun or 2 done, `o` owner, `t` set when taken over, `a` the answer. Until it begins it lives as long as its lease.

Each may be sent twice. Whatever needs memory comes first in each: once a script has written, Redis lets it go on when full.
"""

import hashlib
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True, kw_only=True)
class Script:
    """A script and the digest by which Redis knows it once it has seen it."""

    text: str
    sha1: str


def _script(text: str) -> Script:
    return Script(text=text, sha1=hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest())


_NOW: Final = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local function text(number) return string.format('%.0f', number) end
"""

#: ARGV: owner, binding, request id, lease in ms, until, repeatable (0 or 1), our clock, the most it may be off.
RESERVE: Final = _script(
    _NOW
    + """
local key, owner, binding, request = KEYS[1], ARGV[1], ARGV[2], ARGV[3]
local lease, ends = now + tonumber(ARGV[4]), tonumber(ARGV[5])
if math.abs(now - tonumber(ARGV[7])) > tonumber(ARGV[8]) then return {'clock', '', '', text(now), '0'} end
if ends <= now then return {'late', '', '', text(now), '0'} end
local held = redis.call('HMGET', key, 'n', 'b', 'r', 's', 'l', 'a', 'o')
local state, left = held[1], (tonumber(held[5]) or 0) - now
if not state or (state == '0' and (left <= 0 or held[7] == owner)) then
  redis.call('HSET', key, 'b', binding, 'r', request, 's', text(now), 'l', text(lease), 'n', '0', 'o', owner)
  redis.call('PEXPIREAT', key, text(lease))
  return {'ours', '', '', text(now), '0'}
end
local same = held[2] == binding
if state == '2' then
  return {'done', same and '1' or '0', held[3], held[4], '0', same and held[6] or false}
end
if left > 0 then return {'running', same and '1' or '0', held[3], held[4], text(left)} end
if same and ARGV[6] == '1' then
  redis.call('HSET', key, 'r', request, 's', text(now), 'l', text(lease), 'o', owner, 't', '1')
  redis.call('PEXPIREAT', key, text(ends))
  return {'ours', '', '', text(now), '0'}
end
return {'interrupted', same and '1' or '0', held[3], held[4], '0'}
"""
)

#: ARGV: owner, until.
BEGIN: Final = _script(
    _NOW
    + """
local held = redis.call('HMGET', KEYS[1], 'o', 'l')
if held[1] ~= ARGV[1] then return 'lost' end
if tonumber(held[2]) <= now or tonumber(ARGV[2]) <= now then return 'over' end
redis.call('HSET', KEYS[1], 'n', '1')
redis.call('PEXPIREAT', KEYS[1], ARGV[2])
return 'ok'
"""
)

#: ARGV: owner, until, binding, request id, and the answer where there is one. A key that is gone, because Redis lost it,
#: is written again: better late than forgotten.
CONFIRM: Final = _script(
    _NOW
    + """
local key = KEYS[1]
local held = redis.call('HMGET', key, 'o', 'n')
if held[2] and held[1] ~= ARGV[1] then return 'lost' end
if tonumber(ARGV[2]) <= now then return 'over' end
if not held[2] then redis.call('HSET', key, 'b', ARGV[3], 'r', ARGV[4], 's', text(now)) end
redis.call('HSET', key, 'n', '2')
if ARGV[5] then redis.call('HSET', key, 'a', ARGV[5]) end
redis.call('HDEL', key, 'o', 'l', 't')
redis.call('PEXPIREAT', key, ARGV[2])
return 'ok'
"""
)

#: ARGV: owner.
RELEASE: Final = _script(
    _NOW
    + """
local held = redis.call('HMGET', KEYS[1], 'o', 't')
if held[1] ~= ARGV[1] then return 'lost' end
if held[2] then
  redis.call('HSET', KEYS[1], 'l', text(now))
  return 'kept'
end
redis.call('DEL', KEYS[1])
return 'ok'
"""
)

#: ARGV: what the key must hold now (empty: nothing), what it shall hold.
REPLACE: Final = _script(
    """
if (redis.call('GET', KEYS[1]) or '') ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2])
return 1
"""
)

#: ARGV: the worker's name, its status.
POST: Final = _script(
    _NOW
    + """
redis.call('HSET', KEYS[1], ARGV[1], text(now) .. ' ' .. ARGV[2])
redis.call('PEXPIRE', KEYS[1], 3600000)
return 'ok'
"""
)
