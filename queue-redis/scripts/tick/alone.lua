-- In place of what takes jobs in (enqueue/admit): no change brings any.
local admitted, answers, is_first = {}, {}, nil
