deploy web=2 taken
settle
