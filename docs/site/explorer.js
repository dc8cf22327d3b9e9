// Draws the explorer of the HTTP API from the OpenAPI document beside this page.
SwaggerUIBundle({
  url: "../openapi.json",
  dom_id: "#explorer",
  docExpansion: "none",
  defaultModelsExpandDepth: -1,
  filter: true,
  validatorUrl: null,
});
