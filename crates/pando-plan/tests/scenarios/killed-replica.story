deploy web=2
settle
kill
wait 3
settle
