# Its singleton and its replica are wanted elsewhere as soon as somebody says that it is gone.
servers s1:web,worker s2:web,worker s3:web
deploy web=3 worker=1 singleton
settle
show
deploy web=3 worker=1 singleton min_ready=3
wait 2
lose s1
wait 25
show
remove s1
settle
show
