# OMERO.server and OMERO.web. A site gives `server` (version, source, source_hash), `ice_wheel` (source, source_hash)
# and the secrets; the rest are defaults.
omero:
  data:
    directory: /data/OMERO
    gid: 5546                     # of group idr-data; pinned, since a cloned volume brings numbers, not names
  database:
    port: 5432
    name: idr
    user: omero
    poolsize: 25                  # PostgreSQL's max_connections has to be at least the sum of the pools
  server:
    heap: 24G
    config: {}                    # further `omero config` keys of the server, by name
  web:
    workers: 25                   # gunicorn's; about 110 MB each
    timeout: 60                   # seconds until a silent worker is killed
    max_requests: 30000           # a worker is replaced after so many
    logo: {}                      # source and source_hash of the picture shown on the production side
    config: {}                    # further `omero config` keys of OMERO.web, by name
    top_links:
      - [Studies, {viewname: webindex, query_string: {experimenter: -1}}, {title: Browse the studies}]
      - [Genes, {viewname: maprindex_gene}, {title: Find by gene}]
      - [Phenotypes, {viewname: maprindex_phenotype}, {title: Find by phenotype}]
      - [siRNAs, {viewname: maprindex_sirna}, {title: Find by siRNA}]
      - [Compounds, {viewname: maprindex_compound}, {title: Find by compound}]
      - [Organisms, {viewname: maprindex_organism}, {title: Find by organism}]
      - [Help, 'https://help.openmicroscopy.org/', {title: OMERO's user guide in a new tab, target: new}]
    # What visitors can look things up by; keys of map annotations in these namespaces. OMERO.mapr fails without any.
    mapr:
      gene: {label: Gene, default: [Gene Symbol], all: [Gene Symbol, Gene Identifier]}
      genesupplementary: {label: Gene supplementary, default: [Any value], all: []}
      sirna: {label: siRNA, default: [siRNA Identifier], all: [siRNA Identifier, siRNA Pool Identifier]}
      sirnasupplementary: {label: siRNA supplementary, default: [Any value], all: []}
      phenotype: {label: Phenotype, default: [Phenotype], all: [Phenotype, Phenotype Term Accession]}
      compound: {label: Compound, default: [Compound Name], all: [Compound Name]}
      compoundsupplementary: {label: Compound supplementary, default: [Any value], all: []}
      organism: {label: Organism, default: [Organism], all: [Organism]}
      others: {label: Others, default: [Any value], all: []}
  public:
    user: public
    group: demo
