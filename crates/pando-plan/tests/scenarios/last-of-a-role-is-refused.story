servers s1:web,worker s2:web
deploy web=2 worker=1
settle
roles s1 -worker
drain s1
remove s1
drain s2
settle
drain s1
force drain s1
wait 40
show
