deploy web=2
settle
command fails
deploy web=2 release
settle
