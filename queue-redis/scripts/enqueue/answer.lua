-- What is remembered of the call and answered, and who is woken. Leans on what was admitted (admit).
local answer = admit and table.concat(answers) or '*' .. count
call('HSET', META, 'seq', S.sequence, 'c:' .. caller, pack('>I8', number) .. answer)
call('ZADD', IDLE, now, 'c:' .. caller)
finish()
if (S.ready + S.posted > 0 or S.due or S.over) and call('EXISTS', SLEEPERS) == 1 then kit().wake_for(S.ready + S.posted) end
return {'ok', answer, is_first and 1 or 0, is_watched}
