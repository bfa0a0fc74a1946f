deploy web=2 crash
settle
