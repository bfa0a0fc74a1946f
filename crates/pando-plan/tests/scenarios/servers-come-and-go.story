# Per server counts and totals side by side, while servers come and go.
servers s1:web,worker s2:web,worker
deploy worker=4 each=1
settle
join s3:web,worker
join s4:worker
settle
show
drain s1
settle
show
remove s1
settle
show
