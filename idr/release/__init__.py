"""
A release: the public's address moved from one environment's proxy to another's, and back if need be.

The cloud is the blackboard: what is known of a release is on Neutron's resources (record.py), so that any machine with
credentials tells where it stands and can end what another began.
"""
