"""Images made by the teachers: pixels optimised until the teachers see as many different things as they can."""
