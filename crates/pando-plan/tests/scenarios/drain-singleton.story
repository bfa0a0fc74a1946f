# Never two at once: the first is gone before the second starts.
servers s1:worker s2:worker s3:web
deploy web=1 worker=1 singleton
settle
show
drain s1
settle
show
