insert into dbpatch (currentVersion, currentPatch, previousVersion, previousPatch, message)
    values ('@DBVERSION@', @DBPATCH@, '@DBVERSION@', @DBPATCH@, 'Initializing');

insert into experimentergroup (id, version, permissions, name)
    values (0, 0, -120, 'system'), (1, 0, -52, 'user'), (2, 0, -120, 'guest');
insert into experimenter (id, version, omeName, firstName, lastName)
    values (0, 0, 'root', 'root', 'root'), (1, 0, 'guest', 'Guest', 'Account');
insert into groupexperimentermap (id, version, parent, child, owner, child_index)
    values (0, 0, 0, 0, true, 0), (1, 0, 1, 0, false, 1), (2, 0, 2, 1, false, 0);
insert into password (experimenter_id, hash) values (0, '@ROOTPASS@'), (1, '');
select setval('seq_experimentergroup', 2), setval('seq_experimenter', 1), setval('seq_groupexperimentermap', 2);

insert into node (id, version, conn, uuid, up) values (0, 0, 'unknown', '000000-0000-0000-0000-000000000000', timezone('utc', now()));
insert into session (id, version, uuid, owner, node, started, closed, timeToIdle, timeToLive, defaultEventType)
    values (0, 0, '0000-0000-0000-0000', 0, 0, timezone('utc', now()), timezone('utc', now()), 0, 0, 'BOOTSTRAP');
insert into eventtype (value) values ('Bootstrap'), ('Internal'), ('User'), ('Sessions'), ('Task'), ('Test');
insert into event (id, version, "time", type, experimenter, experimenterGroup, "session")
    values (0, 0, timezone('utc', now()), (select id from eventtype where value = 'Bootstrap'), 0, 0, 0);

insert into adminprivilege (value) values ('Chgrp'), ('Chown'), ('DeleteFile'), ('DeleteManagedRepo'), ('DeleteOwned'),
    ('DeleteScriptRepo'), ('ModifyGroup'), ('ModifyGroupMembership'), ('ModifyUser'), ('ReadSession'), ('Sudo'),
    ('WriteFile'), ('WriteManagedRepo'), ('WriteOwned'), ('WriteScriptRepo');
insert into checksumalgorithm (value) values ('Adler-32'), ('CRC-32'), ('MD5-128'), ('Murmur3-32'), ('Murmur3-128'),
    ('SHA1-160'), ('File-Size-64');
insert into pixelstype (value, bitSize) values ('bit', 1), ('int8', 8), ('uint8', 8), ('int16', 16), ('uint16', 16),
    ('int32', 32), ('uint32', 32), ('float', 32), ('double', 64), ('complex', 64), ('double-complex', 128);
insert into dimensionorder (value) values ('XYZCT'), ('XYZTC'), ('XYCTZ'), ('XYCZT'), ('XYTCZ'), ('XYTZC');
insert into renderingmodel (value) values ('rgb'), ('greyscale');
insert into family (value) values ('linear'), ('polynomial'), ('exponential'), ('logarithmic');

insert into photometricinterpretation (value) values ('RGB'), ('Monochrome');
insert into acquisitionmode (value) values ('WideField'), ('LaserScanningConfocalMicroscopy'), ('Other'), ('Unknown');
insert into illumination (value) values ('Transmitted'), ('Epifluorescence'), ('Other'), ('Unknown');
insert into contrastmethod (value) values ('Brightfield'), ('Fluorescence'), ('Other'), ('Unknown');

insert into configuration (name, value) values ('omero.db.uuid', gen_random_uuid()::text);
update dbpatch set message = 'Database ready.', finished = clock_timestamp();
COMMIT;
