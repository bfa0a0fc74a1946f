servers s1:web s2:web s3:web s4:web s5:web
deploy web=5
settle
deploy web=5 broken-on=s5
settle
show
