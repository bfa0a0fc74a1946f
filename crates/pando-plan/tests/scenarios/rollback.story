deploy web=2
settle
deploy web=3
settle
rollback v1
settle
