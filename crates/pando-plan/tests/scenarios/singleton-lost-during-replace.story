# Whether it still runs where it was nobody knows: no second one starts, and the deployment ends without it.
servers s1:web s2:worker s3:worker
deploy web=2 worker=1 singleton strategy=replace
settle
show
cut s2
wait 30
deploy web=2 worker=1 singleton strategy=replace
settle-but-lost
show
back s2
settle
show
