-- Writes where the lease is one's own, and renews it. Said again: no effect. How many gateways listen; -1 where the lease, or the
-- stream, is somebody else's.
-- KEYS: stream, state, lease. ARGV: token, lease and keep in milliseconds, channel, epoch, and then, each empty where there is
-- none: the oldest message that is kept, the head, the end; offsets and messages in turn.
if redis.call('GET', KEYS[3]) ~= ARGV[1] or redis.call('HGET', KEYS[2], 'epoch') ~= ARGV[5] then
    return -1
end
local messages = #ARGV > 8
if messages then
    local newest = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)[1]
    if not newest or newest[1] ~= ARGV[5] .. '-' .. ARGV[#ARGV - 1] then
        for i = 9, #ARGV, 2 do
            redis.call('XADD', KEYS[1], ARGV[5] .. '-' .. ARGV[i], 'm', ARGV[i + 1])
        end
    end
    redis.call('HSET', KEYS[2], 'newest', ARGV[#ARGV - 1])
    redis.call('XTRIM', KEYS[1], 'MINID', ARGV[5] .. '-' .. ARGV[6])
end
if ARGV[7] ~= '' then
    redis.call('HSET', KEYS[2], 'head', ARGV[7])
end
if ARGV[8] ~= '' then
    redis.call('HSET', KEYS[2], 'end', ARGV[8])
    redis.call('DEL', KEYS[3])
else
    redis.call('PEXPIRE', KEYS[3], ARGV[2])
end
redis.call('PEXPIRE', KEYS[1], ARGV[3])
redis.call('PEXPIRE', KEYS[2], ARGV[3])
if messages or ARGV[7] ~= '' or ARGV[8] ~= '' then
    return redis.call('PUBLISH', ARGV[4], '')
end
return redis.call('PUBSUB', 'NUMSUB', ARGV[4])[2]
