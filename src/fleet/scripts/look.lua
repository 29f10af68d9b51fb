-- What there is behind a place: whether the lease is held, the epoch, the head if it is wanted, the end, whether there is more
-- than what follows, and then offsets and messages in turn.
-- KEYS: stream, state, lease. ARGV: epoch (none: whichever), offset, most messages, most bytes, whether the head is wanted.
local epoch, head, over = unpack(redis.call('HMGET', KEYS[2], 'epoch', 'head', 'end'))
local found = { redis.call('EXISTS', KEYS[3]), epoch, ARGV[5] == '1' and head, over, 0 }
if not epoch or ARGV[1] ~= '' and ARGV[1] ~= epoch then
    return found
end
local offset, count, bytes = ARGV[2], 0, 0
while true do
    local entry = redis.call('XRANGE', KEYS[1], '(' .. epoch .. '-' .. offset, epoch, 'COUNT', 1)[1]
    if not entry then
        return found
    end
    local message = entry[2][2]
    bytes, count = bytes + #message, count + 1
    if count > tonumber(ARGV[3]) or count > 1 and bytes > tonumber(ARGV[4]) then
        found[5] = 1
        return found
    end
    offset = string.sub(entry[1], #epoch + 2)
    found[#found + 1] = offset
    found[#found + 1] = message
end
