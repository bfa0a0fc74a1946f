# The replacement never becomes ready, so the old one stays; a release that works there ends that.
servers main:web,worker w1:web
deploy web=1 worker=2 broken-on=w1
settle
roles w1 +worker
roles main -worker
wait 90
show
deploy web=1 worker=2
settle
show
