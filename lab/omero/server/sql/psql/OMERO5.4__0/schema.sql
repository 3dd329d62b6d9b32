-- The part of OMERO 5.4's schema that the lab's stand-in for Blitz uses: the same names of tables and columns, so that
-- a query or a test that an operator writes here works on a real one too.

create table dbpatch (
    id bigserial primary key, permissions int8 not null default -52, currentPatch int4 not null,
    currentVersion varchar(255) not null, previousPatch int4 not null, previousVersion varchar(255) not null,
    finished timestamp, message varchar(255), external_id int8
);
create table configuration (name varchar(255) primary key, value text);

-- Three kinds of rows. `enumerated` ones are values with a name, `plain` ones belong to nobody, `owned` ones to a user
-- in a group.
create table enumerated (
    id int8 primary key, permissions int8 not null default -52, value varchar(255) not null unique, external_id int8
);
create table plain (
    id int8 primary key, permissions int8 not null default -52, version int4, external_id int8
);
create table owned (
    id int8 primary key, permissions int8 not null default -56, version int4, external_id int8,
    creation_id int8 not null, update_id int8 not null, owner_id int8 not null, group_id int8 not null
);

do $$
declare enumeration text;
begin
    foreach enumeration in array array[
        'adminprivilege', 'eventtype', 'checksumalgorithm', 'dimensionorder', 'renderingmodel', 'family',
        'photometricinterpretation', 'acquisitionmode', 'illumination', 'contrastmethod', 'medium', 'immersion',
        'correction', 'microscopetype', 'filtertype', 'detectortype', 'binning', 'lasertype', 'lasermedium', 'pulse',
        'arctype', 'filamenttype'
    ] loop
        execute format('create table %I (like enumerated including all)', enumeration);
    end loop;
end $$;
create table externalinfo (
    like owned including all, entityId int8 not null, entityType varchar(255) not null, lsid varchar(255),
    uuid varchar(255)
);

-- People, their passwords and sessions
create table experimenter (
    like plain including all, omeName varchar(255) not null unique, firstName varchar(255) not null,
    middleName varchar(255), lastName varchar(255) not null, email varchar(255), institution varchar(255),
    ldap bool not null default false
);
create table experimentergroup (
    like plain including all, name varchar(255) not null unique, description text, ldap bool not null default false
);
create table groupexperimentermap (
    like plain including all, parent int8 not null references experimentergroup,
    child int8 not null references experimenter, owner bool not null default false,
    child_index int4 not null, unique (parent, child)
);
create table password (
    experimenter_id int8 not null unique references experimenter, hash varchar(255), dn text, changed timestamp
);
create table node (
    like plain including all, conn text not null, uuid varchar(255) not null unique, up timestamp not null,
    down timestamp, scale int4
);
create table session (
    like plain including all, uuid varchar(255) not null unique, owner int8 not null references experimenter,
    node int8 not null references node, started timestamp not null, closed timestamp, timeToIdle int8 not null,
    timeToLive int8 not null, defaultEventType varchar(255) not null, message text, userAgent varchar(255),
    userIP varchar(15)
);
create table event (
    like plain including all, "time" timestamp not null, status varchar(255), type int8 not null references eventtype,
    experimenter int8 not null references experimenter, experimenterGroup int8 not null references experimentergroup,
    "session" int8 not null references session, containingEvent int8, experiment int8
);
create table eventlog (
    id int8 primary key, permissions int8 not null default -52, action varchar(255) not null, entityId int8 not null,
    entityType varchar(255) not null, external_id int8, event int8 not null references event
);

-- Files
create table originalfile (
    like owned including all, name varchar(255) not null, path text not null, repo varchar(36), size int8,
    mimetype varchar(255) default 'application/octet-stream', hash varchar(255),
    hasher int8 references checksumalgorithm, atime timestamp, ctime timestamp, mtime timestamp
);
create table fileset (like owned including all, templatePrefix text not null);
create table filesetentry (
    like owned including all, fileset int8 not null references fileset, fileset_index int4 not null,
    originalFile int8 not null references originalfile, clientPath text not null
);

-- Containers
create table project (like owned including all, name varchar(255) not null, description text);
create table dataset (like owned including all, name varchar(255) not null, description text);
create table projectdatasetlink (
    like owned including all, parent int8 not null references project, child int8 not null references dataset
);
create table screen (
    like owned including all, name varchar(255) not null, description text, type varchar(255),
    protocolDescription varchar(255), protocolIdentifier varchar(255), reagentSetDescription varchar(255),
    reagentSetIdentifier varchar(255)
);
create table plate (
    like owned including all, name varchar(255) not null, description text, "rows" int4, "columns" int4,
    rowNamingConvention varchar(255), columnNamingConvention varchar(255), defaultSample int4,
    externalIdentifier varchar(255), status varchar(255), wellOriginX float8, wellOriginXUnit varchar(255),
    wellOriginY float8, wellOriginYUnit varchar(255)
);
create table screenplatelink (
    like owned including all, parent int8 not null references screen, child int8 not null references plate
);
create table plateacquisition (
    like owned including all, name varchar(255), description text, plate int8 not null references plate,
    startTime timestamp, endTime timestamp, maximumFieldCount int4
);
create table well (
    like owned including all, plate int8 not null references plate, "row" int4, "column" int4, type varchar(255),
    status varchar(255), externalDescription varchar(255), externalIdentifier varchar(255),
    red int4, green int4, blue int4, alpha int4
);

-- Images
create table image (
    like owned including all, name varchar(255) not null, description text, acquisitionDate timestamp, archived bool,
    partial bool, series int4 not null default 0, fileset int8 references fileset
);
create table datasetimagelink (
    like owned including all, parent int8 not null references dataset, child int8 not null references image
);
create table wellsample (
    like owned including all, well int8 not null references well, well_index int4 not null,
    image int8 not null references image, plateAcquisition int8 references plateacquisition, timepoint timestamp,
    posX float8, posXUnit varchar(255), posY float8, posYUnit varchar(255)
);
create table pixelstype (like enumerated including all, bitSize int4);
create table pixels (
    like owned including all, image int8 not null references image, image_index int4 not null default 0,
    sizeX int4 not null, sizeY int4 not null, sizeZ int4 not null, sizeC int4 not null, sizeT int4 not null,
    significantBits int4, sha1 varchar(255) not null, methodology varchar(255), waveIncrement int4,
    waveStart int4, dimensionOrder int8 not null references dimensionorder,
    pixelsType int8 not null references pixelstype, relatedTo int8,
    physicalSizeX float8, physicalSizeXUnit varchar(255), physicalSizeY float8, physicalSizeYUnit varchar(255),
    physicalSizeZ float8, physicalSizeZUnit varchar(255), timeIncrement float8, timeIncrementUnit varchar(255)
);
create table pixelsoriginalfilemap (
    like owned including all, parent int8 not null references originalfile, child int8 not null references pixels
);
create table planeinfo (
    like owned including all, pixels int8 not null references pixels, theZ int4 not null, theC int4 not null,
    theT int4 not null, deltaT float8, deltaTUnit varchar(255), exposureTime float8, exposureTimeUnit varchar(255),
    positionX float8, positionXUnit varchar(255), positionY float8, positionYUnit varchar(255),
    positionZ float8, positionZUnit varchar(255)
);
create table statsinfo (like owned including all, globalMin float8 not null, globalMax float8 not null);
create table logicalchannel (
    like owned including all, name varchar(255), fluor varchar(255), ndFilter float8, samplesPerPixel int4,
    pockelCellSetting int4, photometricInterpretation int8 references photometricinterpretation,
    mode int8 references acquisitionmode, illumination int8 references illumination,
    contrastMethod int8 references contrastmethod, emissionWave float8, emissionWaveUnit varchar(255), excitationWave float8,
    excitationWaveUnit varchar(255), pinHoleSize float8, pinHoleSizeUnit varchar(255)
);
create table channel (
    like owned including all, pixels int8 not null references pixels, pixels_index int4 not null,
    logicalChannel int8 not null references logicalchannel, statsInfo int8 references statsinfo,
    red int4, green int4, blue int4, alpha int4, lookupTable text
);
create table thumbnail (
    like owned including all, pixels int8 not null references pixels, mimeType varchar(255) not null,
    sizeX int4 not null, sizeY int4 not null, ref varchar(255)
);
create table roi (like owned including all, name text, description text, image int8 references image, source int8);
create table shape (
    like owned including all, discriminator varchar(31) not null, roi int8 not null references roi, roi_index int4,
    textValue text, theZ int4, theC int4, theT int4
);

-- How an image is shown
create table quantumdef (
    like owned including all, bitResolution int4 not null, cdStart int4 not null, cdEnd int4 not null
);
create table renderingdef (
    like owned including all, pixels int8 not null references pixels, name varchar(255), defaultT int4 not null,
    defaultZ int4 not null, compression float8, model int8 not null references renderingmodel,
    quantization int8 not null references quantumdef
);
create table channelbinding (
    like owned including all, renderingDef int8 not null references renderingdef, renderingDef_index int4 not null,
    active bool not null, family int8 not null references family, coefficient float8 not null default 1,
    noiseReduction bool not null default false, inputStart float8 not null, inputEnd float8 not null,
    red int4 not null, green int4 not null, blue int4 not null, alpha int4 not null, lookupTable varchar(255)
);

-- Annotations
create table annotation (
    like owned including all, discriminator varchar(31) not null, name text, ns text, description text,
    textValue text, longValue int8, doubleValue float8, boolValue bool, timeValue timestamp, termValue text,
    "file" int8 references originalfile
);
create table annotation_mapvalue (
    annotation_id int8 not null references annotation, name varchar(255) not null, value varchar(255) not null,
    index int4 not null, primary key (annotation_id, index)
);
create table annotationannotationlink (
    like owned including all, parent int8 not null references annotation, child int8 not null references annotation
);
do $$
declare annotated text;
begin
    foreach annotated in array array['project', 'dataset', 'image', 'screen', 'plate', 'plateacquisition', 'well',
                                     'fileset', 'originalfile', 'roi', 'channel', 'planeinfo',
                                     'experimenter', 'experimentergroup', 'session', 'node'] loop
        execute format('create table %I (like owned including all, parent int8 not null references %I, '
                       'child int8 not null references annotation, unique (parent, child, owner_id))',
                       annotated || 'annotationlink', annotated);
    end loop;
end $$;

drop table enumerated, plain, owned;

-- Every table's ids come from a sequence of its own, by ome_nextval('seq_TABLE').
create function ome_nextval(seq text) returns int8 as $$ select nextval(seq::regclass) $$ language sql;
do $$
declare tab text;
begin
    for tab in select table_name from information_schema.columns
               where table_schema = current_schema() and column_name = 'id' and table_name != 'dbpatch' loop
        execute format('create sequence %I', 'seq_' || tab);
        execute format('alter table %I alter id set default ome_nextval(%L)', tab, 'seq_' || tab);
        execute format('alter sequence %I owned by %I.id', 'seq_' || tab, tab);
    end loop;
end $$;

create index on wellsample (well);
create index on wellsample (image);
create index on well (plate);
create index on pixels (image);
create index on channel (pixels);
create index on imageannotationlink (parent);
create index on event (session);
