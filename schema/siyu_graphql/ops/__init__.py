"""What those who run the API look at: whether it lives, is ready, how it does; and how it goes.

figures   how many, how long, which errors
observed  a figure and a line of the log for each operation
routes    /healthz, /readyz, /metrics
leaving   open streams are told when the process is about to end
"""
