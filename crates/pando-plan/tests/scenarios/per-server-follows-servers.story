servers s1:web s2:web
deploy each=2
settle
join s3:web
settle
show
roles s1 -web
settle
show
