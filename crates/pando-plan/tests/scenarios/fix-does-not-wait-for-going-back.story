deploy web=2
settle
deploy web=2 broken
wait 30
deploy web=2
settle
