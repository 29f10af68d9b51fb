-- Gives the lease up, where it is one's own, and tells those who may take it.
-- KEYS: lease. ARGV: token, channel.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
    return 0
end
redis.call('DEL', KEYS[1])
redis.call('PUBLISH', ARGV[2], '')
return 1
