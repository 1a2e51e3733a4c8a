"""The processes of a run on several hosts: calling the roll, agreeing, and ending together.

JAX itself waits for a host that never comes, and then ends without naming it; where one of them dies, the
others end later with a C++ stack, and an error on one of them loses its exit code. So each process has a
connection of its own to the first one, from before JAX starts until it ends.
"""
