# Every server: how it is reached by Salt, its clock and its operators. Sites override in site.sls.
{}
