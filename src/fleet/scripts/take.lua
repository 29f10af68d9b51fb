-- Takes the lease where nobody has it, and begins the stream anew unless it can be gone on with. 1 where it was taken, now or
-- before.
-- KEYS: stream, state, lease. ARGV: token, lease and keep in milliseconds, epoch, what becomes of a stream that is there.
local holder = redis.call('GET', KEYS[3])
if holder then
    return holder == ARGV[1] and 1 or 0
end
local epoch, over, newest = unpack(redis.call('HMGET', KEYS[2], 'epoch', 'end', 'newest'))
local lives = epoch and not over
if ARGV[5] == 'same' and epoch and not (lives and epoch == ARGV[4]) then
    return 0
end
-- Redis may have put the messages out to make room.
local is_whole = not newest or redis.call('EXISTS', KEYS[1]) == 1
if not epoch or ARGV[5] == 'anew' or ARGV[5] == 'any' and not (lives and is_whole) then
    redis.call('DEL', KEYS[1], KEYS[2])
    redis.call('HSET', KEYS[2], 'epoch', ARGV[4])
end
redis.call('SET', KEYS[3], ARGV[1], 'PX', ARGV[2])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
redis.call('PEXPIRE', KEYS[2], ARGV[3])
return 1
