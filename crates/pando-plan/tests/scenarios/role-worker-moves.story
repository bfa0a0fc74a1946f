# The classic: a worker server joins, the role is taken off the first one; never a moment without workers.
servers main:web,worker
deploy web=2 worker=2
settle
show
roles main -worker
join w1:worker
settle
show
roles main -worker
wait 1
show
settle
show
deploy web=2 worker=2
settle
show
