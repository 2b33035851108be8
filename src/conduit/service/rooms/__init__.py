"""Facts about rooms: what is so, read from typed trees and caches. Deeds are above, in `events` and `actions`."""
