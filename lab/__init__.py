"""
The lab: six servers, an outside network and an operator's seat on one Linux machine.

`ctl` is its door. Each module holds one idea: `topology` what there is to be, `check` what the machine must have,
`base` the image that hosts boot from, `network` how they are joined and `egress` what may leave, `volumes` their
block devices, `firstboot` what a cloud would put into a new server, `hosts` starting and ending one, `seat` the
operator's workstation, `downloads` the site that OMERO's archives come from, `bring_up` the order of it all, and
`leftovers` what is still there. Nothing in production code knows of any of it.
"""
