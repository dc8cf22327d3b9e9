-- Pages and Open WebUI name their chats: the thread of a name is found at once.
CREATE INDEX threads_by_client_name ON threads (
    owner, json_extract(CAST(doc AS TEXT), '$.metadata.client_name'), seq
) WHERE instr(doc, CAST('"client_name":' AS BLOB)) > 0;

CREATE INDEX threads_by_openwebui_chat ON threads (
    owner, json_extract(CAST(doc AS TEXT), '$.metadata.openwebui_chat'), seq
) WHERE instr(doc, CAST('"openwebui_chat":' AS BLOB)) > 0;
