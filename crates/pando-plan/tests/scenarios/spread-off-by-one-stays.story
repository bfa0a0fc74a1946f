servers s1:web s2:web
deploy web=3
settle
show
join s3:web
settle
show
