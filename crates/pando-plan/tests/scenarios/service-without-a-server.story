servers s1:web
deploy web=1 db
join s2:db
deploy web=1 db
settle
show
