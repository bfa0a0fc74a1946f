# Somebody insists: what has no server any more ends, and comes back with the role.
servers s1:web s2:worker
deploy web=2 worker=2
settle
roles s2 -worker
force roles s2 -worker
wait 5
show
roles s1 +worker
settle
show
