deploy web=2
settle
command vanishes
deploy web=2 release
settle
