# Off by two or more, one replica at a time moves; the old one drains when the new one serves.
servers s1:web s2:web
deploy web=6
settle
show
join s3:web
wait 2
show
settle
show
