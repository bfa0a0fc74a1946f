# Nothing is asked of workers: that one has run for a while is all that is known of it.
deploy web=2 worker=2 min_ready_of=worker:5
settle
deploy web=2 worker=2 min_ready_of=worker:5 workers-end
settle
